#!/usr/bin/env bash
# Debian packages that the full test suite needs; run as root. `make test` works without them and
# says which tests it left out.
#   libgl1 ... libmtdev1   kivy's window, drawn offscreen by mesa
#   qemu-user-static       the arm64 targets of device_tests
#   openssl                the certificate of the TLS tests
#   chromium               the report's page and the server's status page, drawn at several widths
#   aapt ...               the Android manifest, linked and read back
#   default-jdk-headless g++   ExecuTorch's Java classes on a desk's JVM; they are in an npm package
#   libzxing-core-java   the Java classes that read pairing codes in the APK, on a desk's JVM
#   libjpeg62-turbo-dev zlib1g-dev   Pillow 8.2 of kivy-ios, compiled for the payload's tests
#   systemd                systemd-analyze, which checks deploy/headtail.service
#   xvfb xdotool           the app in a real window, with a mouse and a keyboard
#   gobjc libgnustep-base-dev gnustep-make   ios/*.m, compiled against a stand-in for Core ML
set -euo pipefail
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
  libgl1 libgl1-mesa-dri libegl1 libgles2 libmtdev1 \
  qemu-user-static openssl chromium systemd \
  gobjc libgnustep-base-dev gnustep-make aapt android-framework-res \
  default-jdk-headless g++ libzxing-core-java xvfb xdotool libjpeg62-turbo-dev zlib1g-dev
# a Node.js from elsewhere brings npm, and Debian's package of it cannot stand beside that one
command -v npm >/dev/null || apt-get install -y -qq --no-install-recommends npm
