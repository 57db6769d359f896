# A small Debian 12, and namespaces, for tests that need a whole system. Sourced by tests/systemd, tests/container
# and tests/fresh, as root.
#
# debootstrap makes a tree once, from the mirror that this machine's apt uses. The tree stays in
# the target folder for a week, and all tests share it. A test mounts it with `mount_debian`, so
# that no test changes it.

debian_release=bookworm
namespaces="" control_group=${control_group:-kanidm-ldap-sync-$$} at_end=()

# Prints the folder of a Debian with certificates and these packages.
debian_tree() {
  local folder tree made
  folder=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}/debian")
  tree=$folder/$debian_release$(printf '%s' "${@/#/+}")
  if [ -n "$(find "$tree" -maxdepth 0 -mtime -7 2>/dev/null)" ]; then
    echo "$tree"
    return
  fi
  mkdir -p "$folder"
  made=$(mktemp -d "$folder/making.XXXXXX")
  if ! make_debian_tree "$made" "$@" >"$made.log" 2>&1; then
    tail -n 20 "$made.log" >&2
    rm -rf --one-file-system "$made" "$made.log"
    return 1
  fi
  rm -rf --one-file-system "$tree"
  touch "$made"
  mv "$made" "$tree"
  rm "$made.log"
  echo "$tree"
}

make_debian_tree() {
  local tree=$1 base
  shift
  chmod 755 "$tree"
  use_proxy_of_apt
  if [ $# -eq 0 ]; then
    debootstrap --variant=minbase --include=ca-certificates "$debian_release" "$tree" "$(mirror_of_apt)" || return
    rm -rf "$tree"/var/cache/apt/archives/*.deb
  else
    base=$(debian_tree) || return
    cp -a --reflink=auto "$base/." "$tree"
    # Nothing that is installed may start.
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod 755 "$tree/usr/sbin/policy-rc.d"
    DEBIAN_FRONTEND=noninteractive in_debian "$tree" \
      'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" && apt-get clean' "$@" || return
    rm "$tree/usr/sbin/policy-rc.d"
  fi
}

# Runs a shell command in a tree, with the name service of this machine. No process outlives it.
in_debian() {
  local tree=$1 command=$2
  shift 2
  unshare --mount --pid --fork --kill-child -- sh -euc '
    tree=$1 command=$2
    shift 2
    mount -t proc proc "$tree/proc"
    mount --rbind /dev "$tree/dev"
    touch "$tree/etc/resolv.conf" "$tree/etc/hosts"
    mount --bind /etc/resolv.conf "$tree/etc/resolv.conf"
    mount --bind /etc/hosts "$tree/etc/hosts"
    exec chroot "$tree" sh -euc "$command" sh "$@"' sh "$tree" "$command" "$@"
}

# Mounts a tree on the folder $3. Changes go to the folder $2, or to memory if that is on a tmpfs.
mount_debian() {
  mkdir -p "$2/changes" "$2/work" "$3"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/changes,workdir=$2/work" "$3"
}

mirror_of_apt() {
  local mirror
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $debian_release" 'Component: main' | head -n 1)
  if [ -z "$mirror" ]; then
    apt-get update -qq
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $debian_release" 'Component: main' | head -n 1)
  fi
  if [ -z "$mirror" ]; then
    echo "apt has no mirror of Debian $debian_release: see /etc/apt/sources.list" >&2
    return 1
  fi
  echo "$mirror"
}

use_proxy_of_apt() {
  local proxy=
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  if [ -n "$proxy" ]; then export http_proxy=$proxy; fi
}

# Runs a command in namespaces of its own: files, processes, and the network unless $1 is --online.
# However this script ends, the processes end with it, and with them go the mounts.
in_namespaces() {
  local net=--net
  if [ "$1" = --online ]; then
    net=""
    shift
  fi
  export control_group
  trap leave_namespaces EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  setpriv --pdeathsig KILL -- unshare --mount --pid --mount-proc $net --fork --kill-child -- "$@" &
  namespaces=$!
  wait "$namespaces"
}

# A folder that goes with the namespaces.
remove_at_end() {
  at_end+=("$1")
  trap leave_namespaces EXIT
}

leave_namespaces() {
  local status=$?
  if [ -n "$namespaces" ]; then
    kill -KILL "$namespaces" 2>/dev/null || true
    wait "$namespaces" 2>/dev/null || true
  fi
  # A group can go when its last process has gone.
  unshare --mount -- sh -euc '
    mount -t cgroup2 cgroup2 /mnt
    tries=50
    while [ -d "/mnt/$1" ] && [ "$tries" -gt 0 ] && ! find "/mnt/$1" -depth -type d -exec rmdir {} + 2>/dev/null; do
      tries=$((tries - 1))
      sleep 0.1
    done
    ! [ -d "/mnt/$1" ]' sh "$control_group" || echo "the control group $control_group is left" >&2
  if [ ${#at_end[@]} -gt 0 ]; then rm -rf --one-file-system "${at_end[@]}"; fi
  exit "$status"
}

# In the namespaces: cgroup v2 only, whatever this system has. systemd and crun refuse a mixture.
# All processes are in a group of their own.
own_control_group() {
  if mountpoint --quiet /sys/fs/cgroup; then umount --recursive /sys/fs/cgroup; fi
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mkdir "/sys/fs/cgroup/$control_group"
  echo $$ >"/sys/fs/cgroup/$control_group/cgroup.procs"
}
