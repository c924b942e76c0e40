# What several scripts need, for them to source: the administrator's rights, Debian's packages, software adapters.
# shellcheck shell=bash

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
# Debian's packages, where they are missing
need_packages() {
  dpkg-query -W -f '${db:Status-Abbrev}\n' "$@" 2>/dev/null | grep -c '^ii' | grep -qx $# && return
  if ! command -v apt-get >/dev/null; then
    echo "No apt-get here: install $*, and run this again." >&2
    return 1
  fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
# a driver's manifest: library, file
manifest() { printf '{"ICD":{"api_version":"1.3.0","library_path":"%s"},"file_format_version":"1.0.0"}\n' "$1" >"$2"; }

# Mesa 25 beside the system's, in a folder: from bookworm-backports, by apt but with lists of its own. False where it
# cannot be had.
fetch_mesa() {
  local own=$1/apt unpacked=$1/mesa keys=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -d "$unpacked" ] && return
  mkdir -p "$own/lists/partial" "$own/cache/archives/partial"
  echo "deb [signed-by=$keys] http://deb.debian.org/debian bookworm-backports main" >"$own/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$own/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$own/lists" -o "Dir::Cache=$own/cache" -o APT::Sandbox::User=root)
  (
    cd "$own"
    "${apt[@]}" update && "${apt[@]}" download mesa-vulkan-drivers/bookworm-backports
  ) >/dev/null 2>&1 || return 1
  dpkg -x "$own"/mesa-vulkan-drivers_*.deb "$unpacked.new" && mv "$unpacked.new" "$unpacked"
}
# the path of a driver in it: folder, name
mesa_library() { compgen -G "$1/mesa/usr/lib/*/libvulkan_$2.so"; }

# The folder of Debian's Chromium, which has SwiftShader and the Vulkan validation layer: the installed one, or one
# unpacked in a folder.
chromium_folder() {
  local installed=/usr/lib/chromium unpacked=$1/chromium
  [ -e $installed/libvk_swiftshader.so ] && echo $installed && return
  if [ ! -d "$unpacked" ]; then
    mkdir -p "$unpacked.deb"
    as_root apt-get update -qq
    (cd "$unpacked.deb" && apt-get -qq -o APT::Sandbox::User=root download chromium) >/dev/null || return 1
    dpkg -x "$unpacked.deb"/chromium_*.deb "$unpacked.new" && mv "$unpacked.new" "$unpacked"
  fi
  echo "$unpacked/usr/lib/chromium"
}

# A package as WebAssembly for browsers: by rustup's target where it is there, else by Debian's compiler, which builds
# the standard library too (minutes the first time). Prints the path of the module.
build_wasm() {
  # another compiler's, and other flags': nothing in it serves other builds
  local folder=${CARGO_TARGET_DIR:-$PWD/target}/wasm name=wasm32-unknown-unknown
  # Sizes: places of panics and fields of errors are not printed. Variants' names are, by which JavaScript knows errors.
  local flags="-Zlocation-detail=none -Zfmt-debug=shallow"
  # Structs of more than 8 bytes are copied by one instruction, not field by field (an option of LLVM 22); equal ends of
  # branches are one; no counters beside a loop's own.
  local passes="-Cllvm-args=-max-store-memcpy=1 -Cllvm-args=-max-store-memmove=1 -Cllvm-args=-max-store-memset=1"
  passes+=" -Cllvm-args=-enable-gvn-sink -Cllvm-args=-enable-gvn-hoist -Cllvm-args=-disable-lsr"
  local build=(cargo build --quiet --profile web -p "$1" --lib --target $name)
  (
    export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$folder
    if rustc --print target-libdir --target $name 2>/dev/null | xargs -r test -d; then
      RUSTFLAGS="$flags" "${build[@]}"
    else
      need_packages rustc-web cargo-web rust-web-src lld-22
      PATH=/usr/bin:$PATH CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-22 \
        RUSTFLAGS="-Zunstable-options -Cpanic=immediate-abort $flags $passes" \
        "${build[@]}" -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size
    fi
  ) >&2 || return
  echo "$folder/$name/web/${1//-/_}.wasm"
}
