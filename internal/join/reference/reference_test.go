package reference_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"eventworker/internal/join/reference"
)

// checks is how many random logs each property is tried on; EVENTWORKER_RAPID_CHECKS says otherwise.
const checks = "60"

func TestMain(m *testing.M) {
	n := os.Getenv("EVENTWORKER_RAPID_CHECKS")
	if n == "" {
		n = checks
	}
	flag.Parse()
	must(flag.Set("rapid.nofailfile", "true"))
	if !slices.ContainsFunc(os.Args, func(a string) bool { return strings.Contains(a, "rapid.checks") }) {
		must(flag.Set("rapid.checks", n))
	}
	goleak.VerifyTestMain(m)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func TestEveryOrderOfReadingGivesWhatTheContractSays(t *testing.T) {
	for _, layout := range layoutNames {
		t.Run(layout, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				tr := drawTraffic(t, layout, 30)
				records, _ := tr.log()
				want := reference.Join(tr.input(records, reference.Whole(records)))
				tr.ops = drawReading(t, tr, records, false, false)
				report(t, tr, play(t, tr, tr.ops, newMemory(), want))
			})
		})
	}
}

// report fails with the traffic in the form of testdata.
func report(t *rapid.T, tr *traffic, wrong []string) {
	t.Helper()
	if len(wrong) > 0 {
		t.Fatalf("%s\n\n%s", strings.Join(wrong, "\n"), tr)
	}
}
