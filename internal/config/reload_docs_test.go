package config

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

func TestDocumentListsExactlyTheReloadableKeys(t *testing.T) {
	text, err := os.ReadFile("../../docs/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.*]+)` \\| (?:at once|the next|the same)").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1])
	}
	if want := Reloadable(); !slices.Equal(listed, want) {
		t.Errorf("docs/admin.md lists %q, want %q", listed, want)
	}
}
