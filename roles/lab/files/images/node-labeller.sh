#!/bin/sh
# KubeVirt labels a node with the CPUs that its KVM offers, where there is one. The lab's VMs are emulated (useEmulation), with
# CPUs that QEMU emulates: labels of KVM's would keep them from moving live, or let them move where they can't.
PREFERRED_VIRTTYPE=qemu exec /usr/libexec/node-labeller.sh
