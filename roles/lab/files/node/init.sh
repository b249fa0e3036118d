#!/bin/sh
# Process 1 of a lab node: gives the node's new namespaces file systems of their own, then becomes the reaper.
#
# init.sh NAME DIRECTORY PAUSE KEPT CGROUPS
#   NAME       the node's host name
#   DIRECTORY  where the node keeps what it writes
#   PAUSE      the reaper
#   KEPT       directories of the machine that stay visible although they lie in /var/lib, one a line
#   CGROUPS    the node's control groups on the machine: "HIERARCHY DIRECTORY", one a line; HIERARCHY is "unified2"
#              for cgroup v2, else the mount options of a v1 hierarchy
set -eu
name=$1 directory=$2 pause=$3 kept=$4 cgroups=$5

if [ "${IN_CGROUPS:-}" != yes ]; then
  echo "$cgroups" | cut -d' ' -f2 | while read -r group; do echo 1 >"$group/cgroup.procs"; done
  exec env IN_CGROUPS=yes unshare --cgroup sh "$0" "$@"
fi

echo "$name" >/proc/sys/kernel/hostname
mount --make-rprivate /

# /etc is the machine's, with the node's changes on top; /var/lib, /var/log and /run are the node's own.
mkdir -p "$directory/etc" "$directory/etc.work" "$directory/log" "$directory/lib"
mount -t overlay -o "lowerdir=/etc,upperdir=$directory/etc,workdir=$directory/etc.work" etc /etc
echo "$kept" | while read -r path; do
  case $path in /var/lib/*) ;; *) continue ;; esac
  mkdir -p "$directory/lib/${path#/var/lib/}"
  mount --bind "$path" "$directory/lib/${path#/var/lib/}"
done
mount --rbind "$directory/lib" /var/lib
mount --bind "$directory/log" /var/log
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock /run/netns /var/lib/kubelet /var/lib/containerd /var/lib/cni
mount -t proc proc /proc
mount -t sysfs sysfs /sys

case $cgroups in
  unified2*)
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    echo 1 >/sys/fs/cgroup/init/cgroup.procs # the kubelet makes sibling groups, and v2 has processes in leaves only
    ;;
  *)
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    echo "$cgroups" | while read -r hierarchy _; do
      mkdir "/sys/fs/cgroup/$hierarchy"
      case $hierarchy in
        unified) mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
        systemd) mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd ;;
        *) mount -t cgroup -o "$hierarchy" cgroup "/sys/fs/cgroup/$hierarchy" ;;
      esac
    done
    ;;
esac
mount --make-rshared /

echo "$name" >/etc/hostname
echo "127.0.0.1 localhost $name" >/etc/hosts
: >/etc/resolv.conf
exec "$pause"
