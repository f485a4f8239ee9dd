package reference_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readingsPerCase is how many orders of reading a case without a read line is tried in.
const readingsPerCase = 40

// TestCases holds the join to the reference on traffic that once came out differently, or that says what a
// sentence of the contract means. Each file says why it is there.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tr := parse(t, string(text))
			readings := tr.readings
			if len(readings) == 0 {
				readings = shuffled(tr)
			}
			for _, ops := range readings {
				tr.readings = [][]op{ops}
				records, _ := tr.log()
				if wrong := play(t, tr, ops, newMemory(), tr.want(ops, records)); len(wrong) > 0 {
					t.Errorf("%s\n\n%s", strings.Join(wrong, "\n"), tr)
				}
			}
		})
	}
}

// shuffled are random readings of the traffic, the same each time.
func shuffled(tr *traffic) (readings [][]op) {
	random := rand.New(rand.NewPCG(1, 2))
	for range readingsPerCase {
		var left []int
		for k := range tr.lines {
			left = append(left, tr.lines[k].source)
		}
		random.Shuffle(len(left), func(a, b int) { left[a], left[b] = left[b], left[a] })
		var ops []op
		for _, s := range left {
			ops = append(ops, op{kind: opRead, source: s, n: 1})
			if random.IntN(4) == 0 {
				ops = append(ops, op{kind: opSettle, n: 2})
			}
		}
		readings = append(readings, ops)
	}
	return readings
}
