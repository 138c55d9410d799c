#!/bin/sh
# Runs one part of Ringside in the foreground, as process 1: SIGTERM reaches it directly.
set -eu
part=${1:-}
case $part in
  guest-cpu | hypervisor | device-model | translator | cli) shift ;;
  *)
    echo "ringside: '$part' is no part of this image: guest-cpu, hypervisor, device-model, translator or cli" >&2
    exit 2
    ;;
esac
exec node --enable-source-maps "/app/dist/apps/$part.mjs" "$@"
