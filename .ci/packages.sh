#!/usr/bin/env bash
# Debian packages that the full test suite needs; run as root. `make test` works without them and
# says which tests it left out.
#   libgl1 ... libmtdev1   kivy's window, drawn offscreen by mesa
#   qemu-user-static       the arm64 targets of device_tests
#   openssl                the certificate of the TLS tests
#   chromium               the report's page and the server's status page, drawn at several widths
#   aapt ...               the Android manifest, linked and read back
#   default-jdk-headless g++ npm   ExecuTorch's Java classes (of an npm package) on a desk's JVM
#   systemd                systemd-analyze, which checks deploy/headtail.service
#   gobjc libgnustep-base-dev gnustep-make   ios/*.m, compiled against a stand-in for Core ML
set -euo pipefail
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
  libgl1 libgl1-mesa-dri libegl1 libgles2 libmtdev1 \
  qemu-user-static openssl chromium systemd \
  gobjc libgnustep-base-dev gnustep-make aapt android-framework-res \
  default-jdk-headless g++ npm
