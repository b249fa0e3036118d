#!/bin/sh
# enter.sh DIRECTORY COMMAND...: runs the command where libvirt's directories are those in DIRECTORY. To be called in a
# mount namespace of its own, so that neither the machine nor its own libvirt sees anything of it.
set -eu
directory=$1
shift
mount --bind "$directory/etc" /etc/libvirt
mount --bind "$directory/lib" /var/lib/libvirt
mount --bind "$directory/cache" /var/cache/libvirt
mount --bind "$directory/log" /var/log/libvirt
mount --bind "$directory/run" /run
exec "$@"
