#!/bin/bash
# Run inside a Debian that systemd has booted, as its last unit: the package's services under the
# real service manager. /older.deb and /newer.deb are the packages. Writes /result, whose last line
# is `passed`.
exec >/result 2>&1
set -euo pipefail
trap 'systemctl --no-pager status catchment.service | tail -n 20; journalctl --no-pager -u catchment -n 30; systemctl poweroff --force' EXIT
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

die() { echo "FAILED: $*"; exit 1; }
# ask METHOD PATH [JSON]: asks the server; prints headers and body.
ask() {
    local body="${3:-}" token
    token="$(cat /var/lib/catchment/token 2>/dev/null || true)"
    exec 3<>/dev/tcp/127.0.0.1/7400
    printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:7400\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
        "$1" "$2" "$token" "${#body}" "$body" >&3
    timeout 60 cat <&3
    exec 3>&-
}
until_says() {
    local words="$1" tries
    shift
    for tries in $(seq 600); do ! "$@" | grep -q "$words" || return 0; sleep 0.1; done
    "$@" || true
    die "$* does not come to say $words"
}
as_service() {
    setpriv --reuid=catchment --regid=catchment --clear-groups env CATCHMENT_DATA_DIR=/var/lib/catchment \
        CATCHMENT_KEYRING=off CATCHMENT_QUIET_PERIOD_MS=0 "$@"
}

dpkg -i /older.deb
! systemctl is-active --quiet catchment.service || die "the service starts by itself"
! systemctl is-enabled --quiet catchment.service || die "the service is enabled by itself"

systemctl enable --now catchment.service
systemctl is-active --quiet catchment.service catchment.socket || die "it does not run"
[ "$(stat -c '%U %a' /var/lib/catchment)" = "catchment 700" ] || die "its data is not its own"
ask GET /v1/health | grep -q '"OK"' || die "it does not answer"
echo "enabled, started, answers"

# The first connection starts a service that does not run.
systemctl stop catchment.service
until_says '"OK"' ask GET /v1/health
systemctl is-active --quiet catchment.service || die "its socket does not start it"
echo "its socket starts it"

# A folder that takes a while, synced by the server.
mkdir -p /srv/big /srv/small
echo small >/srv/small/file
(cd /srv/big && seq 40000 | while read -r number; do echo "the content of $number" >"$number"; done)
as_service catchment sync /srv/small --bucket big >/dev/null
# An upgrade unpacks first, while the old server still runs, and configures then.
dpkg --unpack /newer.deb
ask POST /v1/buckets/big/syncs '{"connection_id": "conn_local", "source_path": "/srv/big"}' | grep -q sync_config_id
until_says '"big".*"objects":[0-9]\{3,\}' as_service catchment ls --json
before="$(systemctl show -P MainPID catchment.service)"
dpkg --configure catchment
after="$(systemctl show -P MainPID catchment.service)"
[ "$before" != "$after" ] || die "the upgrade did not restart it"
ask GET /v1/health | grep -q '"OK"' || die "it does not answer after the upgrade"
until_says '"big".*"objects":40001' as_service catchment ls --json
as_service catchment verify
as_service catchment status --json >/status.json
grep -q interrupted /status.json || die "the upgrade was to come in the middle of a job"
echo "upgraded in the middle of a job: stopped at a checkpoint, went on"

# A server that hangs is replaced.
mkdir -p /run/systemd/system/catchment.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/catchment.service.d/soon.conf
systemctl daemon-reload
systemctl restart catchment.service
hung="$(systemctl show -P MainPID catchment.service)"
kill -STOP "$hung"
until_says '^1$' systemctl show -P NRestarts catchment.service
until_says '"OK"' ask GET /v1/health
echo "the watchdog replaces one that hangs"

dpkg --remove catchment
! systemctl is-active --quiet catchment.service || die "it still runs"
dpkg --purge catchment | tee /purge
grep -q 'kept in /var/lib/catchment' /purge || die "purge does not say that data was kept"
[ -s /var/lib/catchment/catchment.db ] || die "purge lost data"
trap 'systemctl poweroff --force' EXIT
echo passed
