#!/bin/sh
# Shortens an address, or what is in the clipboard of a Mac; prints the short URL and copies it. Needs curl and nothing else.
# The next lines make it a script command of Raycast.
# @raycast.schemaVersion 1
# @raycast.title Shorten URL
# @raycast.mode silent
# @raycast.packageName TinyURL
# @raycast.icon 🔗
# @raycast.argument1 { "type": "text", "placeholder": "Address, else the clipboard", "optional": true }
set -eu

url=${TINYURL_URL:-https://go.example.com}
key=${TINYURL_KEY:-tu_...}

target=$(printf '%s' "${1:-$(pbpaste)}" | tr -d '\r\n' | sed 's/[\\"]/\\&/g')
# The key comes by stdin, because everybody can read the arguments of a program.
answer=$(curl -sS --max-time 10 --config - --data "{\"url\": \"$target\"}" "$url/api/v1/links" <<EOF
header = "Authorization: Bearer $key"
header = "Content-Type: application/json"
EOF
)
short=$(printf '%s' "$answer" | sed -n 's/.*"short_url": *"\([^"]*\)".*/\1/p')
if [ -z "$short" ]; then
  printf '%s\n' "$answer" | sed 's/.*"detail": *"\([^"]*\)".*/\1/' >&2
  exit 1
fi
if command -v pbcopy >/dev/null; then printf '%s' "$short" | pbcopy; fi
printf '%s\n' "$short"
