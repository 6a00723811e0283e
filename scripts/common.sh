# common.sh — what quickstart, test and bench share; sourced, never run.
#
# Each script names its stages, and each stage tells how long it took. Packages are installed only
# when one is missing, so that a second run touches no network.
# shellcheck shell=bash disable=SC2034

set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

product_packages=(g++ cmake ninja-build pkg-config ccache mold git libboost1.81-dev librocksdb-dev
  nlohmann-json3-dev libsimdjson-dev libssl-dev libpcre2-dev libicu-dev libre2-dev libarchive-dev
  libseccomp-dev)
bench_packages=(libgtest-dev libgmock-dev python3 python3-venv wrk)
jobs=${TESSERA_JOBS:-$(nproc)}
may_install=yes

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# stage TEXT: closes the stage before with its seconds, and begins the next. `stage` alone closes.
stage_name=""
stage() {
  if [[ -n $stage_name ]]; then
    printf '    %s: %d s\n' "$stage_name" $((SECONDS - stage_began))
  fi
  stage_name=${1-}
  stage_began=$SECONDS
  [[ -z $stage_name ]] || printf '==> %s\n' "$stage_name"
}

is_installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# install_packages NAME...: those of them that are missing, from Debian.
install_packages() {
  local missing=() package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  [[ $may_install == yes ]] || die "missing packages: ${missing[*]}"
  command -v apt-get >/dev/null || die "needs Debian 12; missing packages: ${missing[*]}"
  local as_root=()
  [[ $EUID -eq 0 ]] || as_root=(sudo)
  local log
  log=$(mktemp)
  printf '    installing %s\n' "${missing[*]}"
  if ! "${as_root[@]}" bash -c 'apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get \
      -qq --yes --no-install-recommends install "$@"' apt "${missing[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    die "cannot install packages"
  fi
  rm "$log"
}

# build PRESET [-Dname=value...] [-- target...]: configures and builds build/PRESET.
build() {
  local preset=$1 options=() log
  shift
  while [[ $# -gt 0 && $1 != -- ]]; do
    options+=("$1")
    shift
  done
  [[ $# -eq 0 ]] || shift
  mkdir -p "build/$preset"
  log=build/$preset/configure.log
  if ! cmake --preset "$preset" "${options[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    die "cannot configure"
  fi
  sed -n 's/^-- \(.*CUDA.*backend.*\)/    \1/p' "$log"
  cmake --build "build/$preset" --parallel "$jobs" ${1:+--target "$@"}
}
