package querystore

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned by a section or store that was closed.
	ErrClosed = errors.New("querystore: closed")
	// ErrOpen is returned by Open for a section that is open already.
	ErrOpen = errors.New("querystore: section is open already")
)

// LockedError says that another process uses the folder of the store.
type LockedError struct {
	Path string
	// PID is the process that holds it, 0 where it cannot be told.
	PID int
}

func (e *LockedError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("querystore: folder %s is in use by %s: stop it, or give this worker a store.path of its own", e.Path, holder)
}

// IOError is a failed operation on the files of a section. Nothing of the call that met it was
// applied. Unless Final is set, the same call may be made again, and succeeds once the cause (a
// full disk, say) is gone.
type IOError struct {
	Task int32
	// Op is write, sync, read, create, remove, truncate or list.
	Op   string
	Path string
	// Final: the section can only be closed. What was not durable is given up, and is made again
	// from Kafka after the section was opened anew.
	Final bool
	Err   error
}

func (e *IOError) Error() string {
	s := fmt.Sprintf("querystore: task %d: %s %s: %v", e.Task, e.Op, e.Path, e.Err)
	if e.Final {
		s += " (the section must be opened anew)"
	}
	return s
}

func (e *IOError) Unwrap() error { return e.Err }

// MustReopen says whether an error of a section lasts until the section is closed and opened anew.
func MustReopen(err error) bool {
	if io := (*IOError)(nil); errors.As(err, &io) && io.Final {
		return true
	}
	lost := (*LostError)(nil)
	return errors.As(err, &lost)
}

// RecordError says that a record exceeds what the store can hold. It was not added.
type RecordError struct {
	Field       string
	Size, Limit int
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("querystore: %s of %d does not fit: 1 to %d", e.Field, e.Size, e.Limit)
}

// VersionError says that a segment file was written in a format of another version.
type VersionError struct {
	Path      string
	Got, Want uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("querystore: %s has format version %d, this program reads version %d: use the program that wrote it, or remove the folder (its content is then made again from Kafka)",
		e.Path, e.Got, e.Want)
}
