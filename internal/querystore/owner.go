package querystore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"
)

// Owner is whose the records of a store are. A mark says that the owner delivered a message: to another
// consumer group, or after a trial that sent nothing, that would be a lie, and the message lost.
type Owner struct {
	// Group is the consumer group (kafka.group).
	Group string `json:"group"`
	// Mode is how the group delivers (delivery.mode).
	Mode string `json:"mode"`
}

func (o Owner) String() string {
	return fmt.Sprintf("consumer group %q with delivery.mode %s", o.Group, o.Mode)
}

// OwnerError says that the folder of a store belongs to another group, or to the same one in another mode.
type OwnerError struct {
	Path       string
	Have, Want Owner
}

func (e *OwnerError) Error() string {
	s := fmt.Sprintf("querystore: folder %s belongs to %s, and this worker is %s, which would take what that one delivered for its own: give it a store.path of its own, or remove the folder (what the store lacks is read again from Kafka)",
		e.Path, e.Have, e.Want)
	if e.Have.Mode == e.Want.Mode {
		s += fmt.Sprintf("; if the group was only renamed: remove the file %s in it", ownerFile)
	}
	return s
}

const (
	ownerFile    = "owner"
	ownerVersion = 1
)

// ownerRecord is what the file holds.
type ownerRecord struct {
	Version uint32 `json:"version"`
	Owner
}

// claim is what a store says of its folder's owner. The file is written before the first section is made,
// whole or not at all. A folder without one is new, or of a version that did not write it.
type claim struct {
	owner   Owner // none: the folder is read whoever it belongs to
	written bool
}

// checkOwner refuses a folder that belongs to somebody else.
func (s *LogStore) checkOwner() error {
	s.claim.owner = s.opts.Owner
	if s.claim.owner == (Owner{}) {
		return nil
	}
	path := filepath.Join(s.opts.Path, ownerFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("querystore: owner of folder %s: %w", s.opts.Path, err)
	}
	var have ownerRecord
	switch err := json.Unmarshal(text, &have); {
	case err == nil && have.Version != ownerVersion && have.Version != 0:
		return &VersionError{Path: path, Got: have.Version, Want: ownerVersion}
	case err != nil || have.Version == 0 || have.Group == "" || have.Mode == "":
		return fmt.Errorf("querystore: %s, which names the consumer group of the store, is damaged: remove it if the folder is that of %s, else remove the folder (what the store lacks is read again from Kafka)",
			path, s.claim.owner)
	case have.Owner != s.claim.owner:
		return &OwnerError{Path: s.opts.Path, Have: have.Owner, Want: s.claim.owner}
	}
	s.claim.written = true
	return nil
}

// takeFolder names the owner in the folder before a section of it is opened. That it cannot be written keeps
// a new section from being made; an old one, of a version that wrote no owner, may need to be opened just to
// make room on the disk.
func (s *LogStore) takeFolder(section string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claim.written || s.claim.owner == (Owner{}) {
		return nil
	}
	err := s.writeOwner()
	if s.claim.written = err == nil; s.claim.written {
		return nil
	}
	if _, old := os.Stat(section); old != nil {
		return err
	}
	s.opts.Log.Warn("the store's folder could not be marked as this group's; that is tried again with the next task", zap.Error(err))
	return nil
}

func (s *LogStore) writeOwner() error {
	text, err := json.Marshal(ownerRecord{ownerVersion, s.claim.owner})
	if err != nil {
		return err
	}
	path := filepath.Join(s.opts.Path, ownerFile)
	draft := path + ".new"
	f, err := s.opts.files.create(draft)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		_ = s.opts.files.remove(draft)
		return err
	}
	return s.opts.files.syncDir(s.opts.Path)
}
