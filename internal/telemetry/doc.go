// Package telemetry is what one can see of a running worker: logs, metrics, the message equation,
// readiness, and the admin HTTP server that shows them.
package telemetry
