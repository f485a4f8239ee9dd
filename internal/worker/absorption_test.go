package worker

import (
	"testing"

	"eventworker/internal/join"
	"eventworker/internal/telemetry"
)

// The runner counts what the join absorbs under the same number.
func TestJoinAndLedgerCallAbsorptionsTheSame(t *testing.T) {
	if int(join.NumAbsorptions) != int(telemetry.NumAbsorptions) {
		t.Fatalf("%d in the join, %d in the ledger", join.NumAbsorptions, telemetry.NumAbsorptions)
	}
	for a := range join.NumAbsorptions {
		if other := telemetry.Absorption(a); a.String() != other.String() {
			t.Errorf("%d is %s in the join and %s in the ledger", a, a, other)
		}
	}
}
