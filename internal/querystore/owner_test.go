package querystore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

var (
	workers = Owner{Group: "workers", Mode: "send"}
	trial   = Owner{Group: "trial", Mode: "shadow"}
)

// visit opens a folder and its section, as an owner.
func visit(t *testing.T, dir string, owner Owner) error {
	t.Helper()
	store, err := OpenDisk(Options{Path: dir, Owner: owner})
	if err != nil {
		return err
	}
	section, err := store.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(section.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	return nil
}

func TestAFolderIsRefusedToOthersAndNamesItsOwner(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if err := visit(t, dir, trial); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		owner   Owner
		renamed bool
	}{
		"another group":           {Owner{"workers", "shadow"}, true},
		"another mode":            {Owner{"trial", "send"}, false},
		"another group and mode":  {workers, false},
		"a group that begins so":  {Owner{"trial-2", "shadow"}, true},
		"a group in another case": {Owner{"Trial", "shadow"}, true},
	} {
		err := visit(t, dir, c.owner)
		var refused *OwnerError
		if !errors.As(err, &refused) || refused.Have != trial || refused.Want != c.owner || refused.Path != dir {
			t.Fatalf("%s: %v", name, err)
		}
		for _, says := range []string{dir, `"trial"`, "shadow", c.owner.Group, "store.path", "remove the folder"} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %q does not say %s", name, err, says)
			}
		}
		if strings.Contains(err.Error(), "renamed") != c.renamed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := visit(t, dir, trial); err != nil { // a refusal leaves no lock behind, and changes nothing
		t.Error(err)
	}
}

func TestAFolderOfAnEarlierVersionIsAdopted(t *testing.T) {
	m := &model{disk: true, dir: t.TempDir(), before: minTime, objects: 20}
	m.opts = Options{Path: m.dir, SegmentBytes: 64 << 10}
	m.start(t)
	m.add(t, 50)
	m.stop(t)
	m.opts.Owner = workers
	m.start(t)
	m.check(t, 50)
	m.stop(t)
	var refused *OwnerError
	if err := visit(t, m.dir, trial); !errors.As(err, &refused) {
		t.Errorf("another group opens what was adopted: %v", err)
	}
	if err := visit(t, m.dir, Owner{}); err != nil { // tools
		t.Error(err)
	}
}

func TestToolsThatOnlyReadLeaveTheFolderToItsFirstOwner(t *testing.T) {
	dir := t.TempDir()
	for _, owner := range []Owner{{}, workers} {
		if err := visit(t, dir, owner); err != nil {
			t.Fatal(err)
		}
	}
}

// A crash or a full disk must leave either no owner or all of it, and no section without one.
func TestNoSectionIsMadeInAFolderThatCannotBeMarked(t *testing.T) {
	for name, disk := range map[string]*faultyFiles{"full": {}, "half full": {room: 10}, "does not sync": {room: 1 << 20, syncFail: syscall.EIO}} {
		dir := t.TempDir()
		store, err := OpenDisk(Options{Path: dir, Owner: workers, files: disk})
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Open(3)
		var failed *IOError
		if !errors.As(err, &failed) || failed.Task != 3 || MustReopen(err) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "[^l]*")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
		disk.room, disk.syncFail = 1<<20, nil
		section, err := store.Open(3)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := errors.Join(section.Close(), store.Close()); err != nil {
			t.Fatal(err)
		}
		var refused *OwnerError
		if err := visit(t, dir, trial); !errors.As(err, &refused) {
			t.Errorf("%s: another group opens it: %v", name, err)
		}
	}
}

// Opening it is what makes room on a full disk.
func TestAnAdoptedFolderOpensOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := visit(t, dir, Owner{}); err != nil {
		t.Fatal(err)
	}
	store, err := OpenDisk(Options{Path: dir, Owner: workers, files: &faultyFiles{}})
	if err != nil {
		t.Fatal(err)
	}
	section, err := store.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(section.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAnOwnerThatCannotBeReadIsRefusedByName(t *testing.T) {
	for text, says := range map[string]string{
		"":                          "damaged",
		"{":                         "damaged",
		"null":                      "damaged",
		`{"version":1}`:             "damaged",
		`{"version":1,"group":"g"}`: "damaged",
		`{"version":2,"groups":[]}`: "format version 2",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, ownerFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the lock is given back
			if err := visit(t, dir, workers); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}
