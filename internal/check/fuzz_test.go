package check_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"eventworker/internal/check"
	"eventworker/internal/storefront"
)

// Whatever a file holds, each of its messages gets one outcome, and the reports can be written.
func FuzzEveryMessageOfAnyFileGetsAnOutcome(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte("{\n}\n{\"type\":\n"))
	f.Add([]byte("\uFEFF[{},\n{}]\nnull\n"))
	f.Add([]byte(`{"seq":1,"partition":2147483647,"topic":"a","value":"{\"type\":\"recommendation.clicked\"}"}` + "\n" + `{"seq":2,"valueBase64":"AA=="}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		records, _, err := check.Read("f", bytes.NewReader(text), 1<<20)
		if err != nil {
			return // larger than is read
		}
		report, err := check.Run(t.Context(), check.Options{AnyApplication: true, Explain: true, Now: time.UnixMilli(1_764_000_100_000),
			Rules: rulesOf(storefront.DefaultRules())}, records)
		if err != nil {
			t.Fatal(err)
		}
		s := report.Summary
		if s.Messages != len(records) || s.Delivered+s.Refused+s.Absorbed != s.Messages {
			t.Fatalf("%d records, %+v", len(records), s)
		}
		var b bytes.Buffer
		if err := report.WriteJSON(&b); err != nil || !json.Valid(b.Bytes()) {
			t.Fatalf("%v in %s", err, b.String())
		}
		if _, err := report.WriteText(&b, check.TextOptions{Width: 80, Header: true}); err != nil {
			t.Fatal(err)
		}
	})
}
