package check_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"eventworker/internal/check"
	"eventworker/internal/storefront"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s\nwant\n%s", name, got, want)
	}
}

func TestTextOnATerminalAndInAPipe(t *testing.T) {
	report := judge(t, check.Options{AnyApplication: true, Explain: true, Now: time.UnixMilli(1_764_000_100_000),
		Rules: rulesOf(storefront.DefaultRules())}, []byte(everything))
	for name, o := range map[string]check.TextOptions{
		"terminal-80.txt":  {Width: 80, Header: true},
		"terminal-140.txt": {Width: 140, Header: true},
		"pipe.txt":         {Header: true},
	} {
		var b bytes.Buffer
		if left, err := report.WriteText(&b, o); err != nil || left != 0 {
			t.Errorf("%s: %d left, %v", name, left, err)
		}
		golden(t, name, b.Bytes())
	}
	var b bytes.Buffer
	if left, err := report.WriteText(&b, check.TextOptions{Limit: 2}); err != nil || left != 5 || bytes.Count(b.Bytes(), []byte("delivered")) != 2 {
		t.Errorf("%d left, %v: %s", left, err, b.String())
	}
}

func TestReportsInJSON(t *testing.T) {
	report := judge(t, check.Options{AnyApplication: true, Explain: true, Now: time.UnixMilli(1_764_000_100_000),
		Rules: rulesOf(storefront.DefaultRules())}, []byte(everything))
	var b bytes.Buffer
	if err := report.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", b.Bytes())
}
