package reference_test

import (
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"eventworker/internal/join/reference"
	"eventworker/internal/realtest"
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
				ops := drawReading(t, tr, records, false, false)
				tr.readings = [][]op{ops}
				report(t, tr, play(t, tr, ops, newMemory(), want))
			})
		})
	}
}

// The ends of partitions that are told while there is more to come are all that the reading may change, and
// the reference says how.
func TestEndsToldOnTheWayGiveWhatTheContractSays(t *testing.T) {
	for _, layout := range layoutNames {
		t.Run(layout, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				tr := drawTraffic(t, layout, 20)
				records, _ := tr.log()
				ops := drawReading(t, tr, records, true, false)
				tr.readings = [][]op{ops}
				report(t, tr, play(t, tr, ops, newMemory(), tr.want(ops, records)))
			})
		})
	}
}

// With one topic whatever comes, and with several where nothing is late, the live reading, in which every
// partition is at its end after every record, gives what the log gives when it is read later as a whole.
func TestABacklogGivesWhatTheSameTrafficGaveLive(t *testing.T) {
	for _, layout := range layoutNames {
		t.Run(layout, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				tr := drawTraffic(t, layout, 25)
				if layout != "one" {
					tr.punctual()
				}
				records, _ := tr.log()
				want := reference.Join(tr.input(records, reference.Whole(records)))
				ops := live(tr)
				tr.readings = [][]op{ops}
				report(t, tr, play(t, tr, ops, newMemory(), want))
			})
		})
	}
}

// punctual makes each record's time that of its message, later than that of the record before.
func (tr *traffic) punctual() {
	for k := range tr.lines {
		tr.lines[k].own = none
		if k == 0 {
			tr.lines[k].time = 1
		} else {
			tr.lines[k].time = max(tr.lines[k].time%1000, tr.lines[k-1].time+1)
		}
	}
}

// live is the reading in which each record is read as soon as it is there.
func live(tr *traffic) (ops []op) {
	for k := range tr.lines {
		ops = append(ops, op{kind: opNotEnd, source: tr.lines[k].source}, op{kind: opRead, source: tr.lines[k].source, n: 1})
		for s := range tr.sources {
			ops = append(ops, op{kind: opEnd, source: s})
		}
		if k%3 == 2 {
			ops = append(ops, op{kind: opSettle, n: 2})
		}
	}
	return ops
}

// A crash, whatever it leaves of the store, changes no answer: what both lives say is what the contract says,
// and nothing that a commit covers is said again.
func TestCrashesChangeNoAnswer(t *testing.T) {
	for _, layout := range layoutNames {
		t.Run(layout, func(t *testing.T) {
			checkCrashes(t, layout, 3, func(rapid.TB) keeper { return newMemory() })
		})
	}
}

func TestCrashesOverTheDiskStoreChangeNoAnswer(t *testing.T) {
	for _, layout := range []string{"one", "typed"} {
		t.Run(layout, func(t *testing.T) {
			root, n := t.TempDir(), 0
			checkCrashes(t, layout, 4, func(t rapid.TB) keeper { n++; return newDisk(t, filepath.Join(root, strconv.Itoa(n))) })
		})
	}
}

func TestATaskThatMovesBetweenTwoWorkersWithDisksKeepsItsAnswers(t *testing.T) {
	root, n := t.TempDir(), 0
	checkCrashes(t, "shown", 3, func(t rapid.TB) keeper {
		n++
		return &pair{workers: [2]keeper{newDisk(t, filepath.Join(root, fmt.Sprint(n, "a"))), newDisk(t, filepath.Join(root, fmt.Sprint(n, "b")))}}
	})
}

func TestCrashesOverRedisChangeNoAnswer(t *testing.T) {
	address := realtest.Redis(t)
	for _, layout := range []string{"one", "typed"} {
		t.Run(layout, func(t *testing.T) {
			checkCrashes(t, layout, 3, func(t rapid.TB) keeper { return newRedis(t, address, prefix()) })
		})
	}
}

func TestATaskThatMovesBetweenTwoWorkersWithOneRedisKeepsItsAnswers(t *testing.T) {
	address := realtest.Redis(t)
	checkCrashes(t, "mixed", 3, func(t rapid.TB) keeper {
		own := prefix()
		return &sharedRedis{pair{workers: [2]keeper{newRedis(t, address, own), newRedis(t, address, own)}}}
	})
}

func prefix() string { return "reference-" + rand.Text()[:12] + ":" }

func checkCrashes(t *testing.T, layout string, most int, store func(rapid.TB) keeper) {
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTraffic(t, layout, 25)
		k := store(t)
		records, _ := tr.log()
		want := reference.Join(tr.input(records, reference.Whole(records)))
		ops := drawCrashes(t, drawReading(t, tr, records, false, true), most)
		tr.readings = [][]op{ops}
		defer func() {
			if r, ok := k.(interface{ wipe(rapid.TB) }); ok {
				r.wipe(t)
			}
			k.close(t)
		}()
		report(t, tr, play(t, tr, ops, k, want))
	})
}

// report fails with the traffic in the form of testdata.
func report(t *rapid.T, tr *traffic, wrong []string) {
	t.Helper()
	if len(wrong) > 0 {
		t.Fatalf("%s\n\n%s", strings.Join(wrong, "\n"), tr)
	}
}
