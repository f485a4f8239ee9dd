package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var someEntries = []entry{
	{"eventworker", 0o755, []byte("program")},
	{"completions/eventworker.bash", 0o644, []byte("complete")},
}

func TestTheSameEntriesGiveTheSameArchive(t *testing.T) {
	at := time.Unix(1764000000, 0).UTC()
	for ending, write := range map[string]func(*bytes.Buffer, time.Time) error{
		".tar.gz": func(b *bytes.Buffer, at time.Time) error { return writeTar(b, "folder", at, someEntries) },
		".zip":    func(b *bytes.Buffer, at time.Time) error { return writeZip(b, "folder", at, someEntries) },
	} {
		var first, second, later bytes.Buffer
		for b, when := range map[*bytes.Buffer]time.Time{&first: at, &second: at, &later: at.Add(time.Hour)} {
			if err := write(b, when); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s: two archives of the same entries differ", ending)
		}
		if bytes.Equal(first.Bytes(), later.Bytes()) {
			t.Errorf("%s: the time is not in the archive", ending)
		}
		file := filepath.Join(t.TempDir(), "archive"+ending)
		if err := os.WriteFile(file, first.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readArchive(file, "folder")
		if err != nil {
			t.Fatal(err)
		}
		same := func(a, b entry) bool {
			return a.name == b.name && a.mode == b.mode && bytes.Equal(a.content, b.content)
		}
		if !slices.EqualFunc(got, someEntries, same) {
			t.Errorf("%s: read back %v, want %v", ending, got, someEntries)
		}
		if _, err := readArchive(file, "other"); err == nil {
			t.Errorf("%s: entries outside the folder were accepted", ending)
		}
	}
}

func TestAFileThatDiffersFromItsChecksumIsNamed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.tar.gz", "one")
	write("b.zip", "two")
	if err := writeSums(dir); err != nil {
		t.Fatal(err)
	}
	if files, err := checkSums(dir); err != nil || !slices.Equal(files, []string{"a.tar.gz", "b.zip"}) {
		t.Fatalf("got %v, %v", files, err)
	}
	write("b.zip", "twO")
	if _, err := checkSums(dir); err == nil || !strings.Contains(err.Error(), "b.zip") {
		t.Errorf("a changed file: got %v", err)
	}
	write("b.zip", "two")
	write("c", "too many")
	if _, err := checkSums(dir); err == nil || !strings.Contains(err.Error(), "c]") {
		t.Errorf("a file too many: got %v", err)
	}
}
