package main

import (
	"os"
	"strings"
	"testing"
)

func TestThePageIsWhatTheSourceSays(t *testing.T) {
	t.Chdir("../..")
	if err := run(true); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyWithoutACommentIsRefused(t *testing.T) {
	code, err := os.ReadFile("../../" + source)
	if err != nil {
		t.Fatal(err)
	}
	const comment = "// bytes of everything between fetch and settlement"
	if !strings.Contains(string(code), comment) {
		t.Fatal("the source does not have the comment that this test takes out")
	}
	_, err = reference([]byte(strings.Replace(string(code), comment, "", 1)))
	if err == nil || !strings.Contains(err.Error(), "memory.budget") {
		t.Fatalf("the error does not name the key: %v", err)
	}
}
