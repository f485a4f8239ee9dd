#!/usr/bin/env bash
# Creates the topics of docker-compose.yml in the broker at BROKER, with PARTITIONS each. What exists
# is left as it is.
set -euo pipefail

# create TOPIC CONFIG…
create() {
	local topic=$1 configs=()
	shift
	for config in "$@"; do configs+=(--config "$config"); done
	/opt/kafka/bin/kafka-topics.sh --bootstrap-server "$BROKER" --create --if-not-exists \
		--topic "$topic" --partitions "$PARTITIONS" --replication-factor 1 "${configs[@]}"
}

day=$((24 * 60 * 60 * 1000))
events=recommendation-events

# The replay topic needs as many partitions as the events: a user's messages meet in one task. Each
# call starts a virtual machine, so they run side by side.
pids=()
create "$events" retention.ms=$((7 * day)) & pids+=($!)
create "$events.replay" retention.ms=$((7 * day)) & pids+=($!)
create "$events.dead-letter" retention.ms=$((14 * day)) & pids+=($!)
create "$events.dead-letter.state" cleanup.policy=compact & pids+=($!)
for pid in "${pids[@]}"; do wait "$pid"; done
