package querystore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// fileSystem is what the disk store asks of the operating system.
type fileSystem interface {
	// create makes an empty file, in the place of one that may be there.
	create(path string) (file, error)
	open(path string) (file, error)
	remove(path string) error
	// syncDir makes the names in a folder durable.
	syncDir(dir string) error
}

type file interface {
	io.ReaderAt
	io.WriterAt
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

type osFiles struct{}

func (osFiles) create(path string) (file, error) {
	return asFile(os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600))
}

func (osFiles) open(path string) (file, error) { return asFile(os.OpenFile(path, os.O_RDWR, 0)) }

func (osFiles) remove(path string) error { return os.Remove(path) }

func (osFiles) syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there; names are journalled
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// asFile keeps a nil *os.File from becoming a file that is not nil.
func asFile(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// hookedFiles ask Options.Fsync for each fsync of a file.
type hookedFiles struct {
	fileSystem
	fsync func(path string, do func() error) error
}

func (h hookedFiles) create(path string) (file, error) {
	f, err := h.fileSystem.create(path)
	return h.hook(f, path, err)
}

func (h hookedFiles) open(path string) (file, error) {
	f, err := h.fileSystem.open(path)
	return h.hook(f, path, err)
}

func (h hookedFiles) hook(f file, path string, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return hookedFile{f, func() error { return h.fsync(path, f.Sync) }}, nil
}

type hookedFile struct {
	file
	sync func() error
}

func (f hookedFile) Sync() error { return f.sync() }
