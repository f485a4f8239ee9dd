package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestTheFileIsWhatTheTablesSay(t *testing.T) {
	want, err := render()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs: go run ./scripts/dashboard", file)
	}
}

func TestEveryPanelSaysWhatIsGoodAndWhatToDo(t *testing.T) {
	ids := map[int]string{}
	for _, r := range rows() {
		for i := range r.panels {
			v := &r.panels[i]
			if other, taken := ids[v.id]; taken {
				t.Errorf("%q and %q have the number %d", other, v.title, v.id)
			}
			ids[v.id] = v.title
			if v.id >= 100 {
				t.Errorf("%q has the number of a row, %d", v.title, v.id)
			}
			for _, s := range []string{v.good, v.act} {
				if !strings.HasSuffix(s, ".") || len(s) < 4 {
					t.Errorf("%q does not say what is good and what to do: %q", v.title, s)
				}
			}
			if len(v.draw) == 0 || v.width == 0 {
				t.Errorf("%q shows nothing", v.title)
			}
		}
	}
}
