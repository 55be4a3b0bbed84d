#!/usr/bin/env bash
# Asks a real server everything its OpenAPI document allows and much that it does not, and fails on any
# 500 and on any status, type or shape that the document does not promise. Needs python3; schemathesis
# comes from PyPI into target/schemathesis. Arguments go to schemathesis, such as --max-examples 200.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/schemathesis
if [[ ! -x $venv/bin/schemathesis ]]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet 'schemathesis>=4,<5'
fi
cargo build --locked --package frontdesk --bin frontdesk
frontdesk=$PWD/target/debug/frontdesk

folder=$(mktemp -d)
server=
stop() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap stop EXIT

cat >"$folder/frontdesk.toml" <<'CONFIG'
[http]
listen = ["127.0.0.1:0"]
[smtp]
listen = ["127.0.0.1:0"]
[server]
log_level = "warn"
[[agent]]
name = "hello"
approval = "all"
CONFIG
export FRONTDESK_CONFIG=$folder/frontdesk.toml FRONTDESK_DATA=$folder/data
: >"$folder/out"
"$frontdesk" serve >"$folder/out" 2>"$folder/log" &
server=$!
for _ in $(seq 100); do
    url=$(sed -n 's|^ *health *\(http://[^/]*\)/healthz$|\1|p' "$folder/out")
    [[ -n $url ]] && break
    kill -0 "$server" || { cat "$folder/log"; exit 1; }
    sleep 0.1
done
[[ -n $url ]] || { echo "the server did not start"; cat "$folder/log"; exit 1; }

# Something to find: mail that came in, drafts that wait for a decision, mail that has left.
smtp=$(sed -n 's|^ *mail *127.0.0.1:\([0-9]*\)$|\1|p' "$folder/out")
python3 - "$smtp" <<'MAIL'
import smtplib, sys
from email.message import EmailMessage
for n in range(3):
    mail = EmailMessage()
    mail["From"], mail["To"] = f"ann{n}@localhost", "hello@localhost"
    mail["Subject"], mail["Message-ID"] = f"Question {n}", f"<{n}@localhost>"
    mail.set_content("Are you open?")
    mail.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="a.pdf")
    with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as server:
        server.send_message(mail)
MAIL
for n in 1 2 3; do
    "$frontdesk" email send --agent hello --to "someone$n@example.org" --subject "Mail $n" --text "Words $n" >/dev/null
done
token=$("$frontdesk" tokens create schemathesis --scope read,draft,send,approve,admin --json |
    sed 's/.*"secret":"\([^"]*\)".*/\1/')

# Left out: the event stream, which never ends; backup and export, which write wherever they are told to on
# this machine; and revoking tokens, which would lock schemathesis out and turn every answer into 401.
"$venv/bin/schemathesis" run "$url/api/v1/openapi.json" \
    --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --exclude-path /events --exclude-path /backup --exclude-path /export \
    --exclude-operation-id tokens_delete \
    --max-examples "${MAX_EXAMPLES:-25}" --seed 1 --suppress-health-check all --no-color "$@"

# A run that locked itself out has shown nothing.
status=$(curl --silent --output /dev/null --write-out '%{http_code}' \
    --header "Authorization: Bearer $token" "$url/api/v1/session")
[[ $status == 200 ]] || { echo "the token no longer works ($status)"; exit 1; }
if grep -E 'ERROR|panicked' "$folder/log"; then
    echo "the server logged errors"
    exit 1
fi
