# Sourced by tools/test, tools/quickstart and .ci/run: the Debian and Ubuntu packages that octavo builds on.
# The names are the same on Debian 12 and Ubuntu 24.04; third_party/README.md says what each is for.
OCTAVO_BUILD_PACKAGES=(g++ cmake ninja-build ccache libeigen3-dev libyaml-cpp-dev libspdlog-dev catch2 libjpeg-dev
  libpng-dev libstb-dev libdnnl-dev libcli11-dev nlohmann-json3-dev zlib1g-dev)
OCTAVO_CHECK_PACKAGES=(git clang-format clang-tidy)

octavo_require_system() {
  local ID=unknown VERSION_ID=0 ID_LIKE=
  [ -r /etc/os-release ] && . /etc/os-release
  local major=${VERSION_ID%%.*}
  case "$ID" in
    debian) [ -z "$VERSION_ID" ] || [ "$major" -ge 12 ] && return 0 ;;
    ubuntu) [ "$major" -ge 24 ] && return 0 ;;
  esac
  echo "octavo: packages are known for Debian 12 and Ubuntu 24.04 LTS or later; this is '$ID $VERSION_ID'." >&2
  echo "Install the equivalents of: $*" >&2
  return 1
}

# octavo_install PACKAGE...: installs those that are missing.
octavo_install() {
  local missing=() package
  if ! command -v dpkg-query > /dev/null; then
    octavo_require_system "$@"
    return
  fi
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2> /dev/null | grep -q '^install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  octavo_require_system "${missing[@]}" || return 1
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
      echo "octavo: these packages are missing, and installing them needs root or sudo:" >&2
      echo "  apt-get install ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "octavo: installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -q >&2 &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
      "${missing[@]}" >&2
}

# octavo_configure PRESET [ARGUMENT...]: through ccache.
octavo_configure() {
  local preset=$1
  shift
  cmake --preset "$preset" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "$@" > /dev/null
}
