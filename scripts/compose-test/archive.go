//go:build linux

package main

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// archive is a tar that is written while it is read, so that nothing is copied on the way to the
// daemon.
type archive struct{ parts []func(*tar.Writer) error }

func newArchive() *archive { return &archive{} }

func (a *archive) add(part func(*tar.Writer) error) { a.parts = append(a.parts, part) }

// stream gives the archive to read. The first error of either side is the result.
func (a *archive) stream(read func(io.Reader) error) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := a.write(w)
		w.CloseWithError(err) // nil: the end
		written <- err
	}()
	err := read(r)
	r.CloseWithError(io.ErrClosedPipe) // the writer must not wait for a reader that has gone
	if failed := <-written; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		return failed
	}
	return err
}

func (a *archive) write(w io.Writer) error {
	t := tar.NewWriter(w)
	for _, part := range a.parts {
		if err := part(t); err != nil {
			return err
		}
	}
	return t.Close()
}

func (a *archive) bytes(name string, content []byte, mode int64) {
	a.add(func(t *tar.Writer) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err := t.Write(content)
		return err
	})
}

// standin adds an embedded file, which may be executed.
func (a *archive) standin(name, as string) {
	content, err := standins.ReadFile(path.Join("standin", name))
	if err != nil {
		a.add(func(*tar.Writer) error { return err })
		return
	}
	a.bytes(as, content, 0o755)
}

func (a *archive) dir(name string, mode int64) { a.dirOf(name, mode, 0) }

func (a *archive) dirOf(name string, mode int64, owner int) {
	a.add(func(t *tar.Writer) error {
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner})
	})
}

func (a *archive) link(name, to string) {
	a.add(func(t *tar.Writer) error {
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777})
	})
}

// file adds a file with its mode, owned by root.
func (a *archive) file(from, as string) {
	a.add(func(t *tar.Writer) error {
		info, err := os.Stat(from)
		if err != nil {
			return err
		}
		return addFile(t, from, as, info)
	})
}

func addFile(t *tar.Writer, from, as string, info fs.FileInfo) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	h := &tar.Header{Name: as, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime()}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(t, f, info.Size())
	return err
}

// folder adds what is below a folder; skip, if given, leaves paths out.
func (a *archive) folder(from, as string, skip func(path string) bool) {
	a.add(func(t *tar.Writer) error {
		return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			below, err := filepath.Rel(from, p)
			if err != nil {
				return err
			}
			if skip != nil && skip(filepath.ToSlash(below)) {
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			return addEntry(t, p, path.Join(as, filepath.ToSlash(below)), d)
		})
	})
}

func addEntry(t *tar.Writer, from, as string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: as + "/", Mode: 0o755, ModTime: info.ModTime()})
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: as, Linkname: to, Mode: 0o777})
	case info.Mode().IsRegular():
		return addFile(t, from, as, info)
	}
	return nil
}
