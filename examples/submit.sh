#!/bin/sh
# Submit a task with curl, wait until it ends, and print it. The server and the key come from the environment, or from
# the file that `make run` writes.
#
#     sh examples/submit.sh
set -eu

if [ -z "${UMBEL_URL:-}" ] || [ -z "${UMBEL_API_KEY:-}" ]; then
    [ -r .umbel/client.env ] || { echo "Start a server with 'make run' or set UMBEL_URL and UMBEL_API_KEY." >&2; exit 1; }
    UMBEL_URL=$(sed -n 's/^UMBEL_URL=//p' .umbel/client.env)
    UMBEL_API_KEY=$(sed -n 's/^UMBEL_API_KEY=//p' .umbel/client.env)
fi

# The key goes in through a file descriptor: an argument could be read by every user of this machine.
call() {
    printf 'header = "Authorization: Bearer %s"\n' "$UMBEL_API_KEY" |
        curl --config - --silent --show-error --fail-with-body "$@"
}

task=$(call "$UMBEL_URL/v1/tasks" \
    --header 'Content-Type: application/json' \
    --header "Idempotency-Key: submit-sh-$$-$(date +%s)" \
    --data '{"workflow": "probe", "input": {"steps": [{"say": "hello"}, {"wait_s": 1}]}}')
id=$(printf '%s' "$task" | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')

echo "submitted $id" >&2
call "$UMBEL_URL/v1/tasks/$id?wait=30"
echo
