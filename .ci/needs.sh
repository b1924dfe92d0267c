# What a build needs, and the exact remedy when it is missing. Sourced by ./start and ./test.
# shellcheck shell=bash

rust_version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# Prints the command that installs a package by the package manager at hand.
# Arguments: names for apt, dnf, apk, pacman.
install_line() {
  local sudo="sudo "
  [ "$(id -u)" -eq 0 ] && sudo=""
  if command -v apt-get >/dev/null; then
    echo "${sudo}apt-get install $1"
  elif command -v dnf >/dev/null; then
    echo "${sudo}dnf install $2"
  elif command -v apk >/dev/null; then
    echo "${sudo}apk add $3"
  elif command -v pacman >/dev/null; then
    echo "${sudo}pacman -S $4"
  else
    echo "install the package '$1' of your system"
  fi
}

needs_rust() {
  if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    {
      echo "Rust is missing. Install it with rustup and open a new shell:"
      echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    } >&2
    exit 2
  fi
  local found oldest
  found=$(rustc --version | cut -d ' ' -f 2)
  oldest=$(printf '%s\n%s\n' "$rust_version" "$found" | sort -V | head -n 1)
  if [ "$oldest" != "$rust_version" ]; then
    {
      echo "Rust $found is too old; $rust_version or later is needed:"
      echo "    rustup update stable"
    } >&2
    exit 2
  fi
}

# The formatter and the linter, which only ./test needs.
needs_rust_parts() {
  local missing=()
  cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
  cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
  if [ ${#missing[@]} -gt 0 ]; then
    {
      echo "Parts of Rust are missing: ${missing[*]}. Install them:"
      echo "    rustup component add ${missing[*]}"
    } >&2
    exit 2
  fi
}

# SQLite and the crypto library are C; without a compiler, or without the C library's headers,
# cargo's own message is far from the cause.
needs_cc() {
  local program='#include <stdlib.h>
int main(void) { return EXIT_SUCCESS; }'
  if ! "${CC:-cc}" -x c -o /dev/null - <<<"$program" >/dev/null 2>&1; then
    {
      echo "A working C compiler is missing (SQLite and the crypto library are built from source):"
      echo "    $(install_line 'gcc libc6-dev' 'gcc glibc-devel' 'gcc musl-dev' 'gcc')"
    } >&2
    exit 2
  fi
}
