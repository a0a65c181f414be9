#!/usr/bin/env bash
# What the container tests and the demo need where no image can be pulled: a docker engine, a Python base image made by
# debootstrap, and a registry on the loopback interface. Prints NAME=VALUE lines; exits 3 and says why when it cannot.
#   scripts/container-fixture.sh            use what is there; start what is installed
#   scripts/container-fixture.sh --install  also install the Debian packages (needs root)
set -euo pipefail

base=${TRACKSIDE_FIXTURE_BASE:-trackside-fixture/python:bookworm}
port=${TRACKSIDE_FIXTURE_PORT:-5055}
state=${XDG_CACHE_HOME:-$HOME/.cache}/trackside/container-fixture
mirror=${TRACKSIDE_FIXTURE_MIRROR:-} # empty: debootstrap knows one

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; } # the registry's port is open

give_up() {
  echo "no container fixture: $1" >&2
  exit 3
}

if [ "${1:-}" = --install ]; then
  missing=()
  command -v dockerd >/dev/null || missing+=(docker.io)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  command -v docker-registry >/dev/null || missing+=(docker-registry)
  if [ ${#missing[@]} -gt 0 ]; then
    { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; } || give_up "${missing[*]} cannot be installed without root"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
      give_up "apt-get could not install ${missing[*]}"
  fi
fi

mkdir -p "$state"
command -v docker >/dev/null || give_up "docker is not installed"
if ! docker info >/dev/null 2>&1; then
  { command -v dockerd >/dev/null && [ "$(id -u)" = 0 ]; } || give_up "no docker engine answers"
  nohup setsid dockerd >"$state/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && break
    sleep 0.5
  done
  docker info >/dev/null 2>&1 || give_up "dockerd does not start: $(tail -n 1 "$state/dockerd.log")"
fi

if ! docker image inspect "$base" >/dev/null 2>&1; then
  if ! { command -v debootstrap >/dev/null && [ "$(id -u)" = 0 ]; }; then
    base=python:3.12-slim-bookworm
    docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base" >/dev/null 2>&1 ||
      give_up "no base image: $base cannot be pulled, and there is no debootstrap (with root) to make one"
  fi
fi
if ! docker image inspect "$base" >/dev/null 2>&1; then
  root=$(mktemp -d "$state/base-XXXXXX")
  trap 'rm -rf "$root"' EXIT
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" ${mirror:+"$mirror"} \
    >"$state/debootstrap.log" 2>&1 || give_up "debootstrap failed: $(tail -n 1 "$state/debootstrap.log")"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
  tar -C "$root" --exclude=./dev --exclude=./proc --exclude=./sys -c . |
    docker import --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' - "$base" >/dev/null
fi

if ! answers; then
  if ! command -v docker-registry >/dev/null; then
    docker run --detach --restart no --publish "127.0.0.1:$port:5000" registry:2 >/dev/null 2>&1 ||
      give_up "docker-registry is not installed, and the image registry:2 cannot be pulled"
  else
    cat >"$state/registry.yml" <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: $state/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
log: {level: warn}
YAML
    nohup setsid docker-registry serve "$state/registry.yml" >"$state/registry.log" 2>&1 </dev/null &
  fi
  for _ in $(seq 60); do
    answers && break
    sleep 0.25
  done
  answers || give_up "docker-registry does not start"
fi

printf 'BASE_IMAGE=%s\nREGISTRY=127.0.0.1:%s\n' "$base" "$port"
