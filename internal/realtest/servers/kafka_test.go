package servers

import (
	"strings"
	"testing"
)

func TestNoClusterIDIsTakenForAnOption(t *testing.T) {
	for range 2000 {
		if id := newClusterID(); strings.HasPrefix(id, "-") || len(id) != 22 {
			t.Fatal(id)
		}
	}
}
