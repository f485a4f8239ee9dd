package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// entry is a file of an archive.
type entry struct {
	name    string // inside the archive's folder, with slashes
	mode    fs.FileMode
	content []byte
}

// writeTar writes a compressed tar of the entries, in a folder of its own, owned by nobody and of the
// given time: the same entries give the same bytes.
func writeTar(w io.Writer, folder string, at time.Time, entries []entry) error {
	packed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(packed)
	for _, e := range entries {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(folder, e.name), Size: int64(len(e.content)), Mode: int64(e.mode.Perm()),
			ModTime: at, Format: tar.FormatUSTAR,
		}
		if err := t.WriteHeader(header); err != nil {
			return err
		}
		if _, err := t.Write(e.content); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), packed.Close())
}

// writeZip does the same as a zip.
func writeZip(w io.Writer, folder string, at time.Time, entries []entry) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, e := range entries {
		header := &zip.FileHeader{Name: path.Join(folder, e.name), Method: zip.Deflate, Modified: at}
		header.SetMode(e.mode)
		f, err := z.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := f.Write(e.content); err != nil {
			return err
		}
	}
	return z.Close()
}

// mostOf bounds what is read of one file in an archive.
const mostOf = 256 << 20

// readArchive gives the entries of an archive that this program wrote, without its folder.
func readArchive(file, folder string) ([]entry, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var entries []entry
	if strings.HasSuffix(file, ".zip") {
		entries, err = readZip(content)
	} else {
		entries, err = readTar(content)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i := range entries {
		inside, ok := strings.CutPrefix(entries[i].name, folder+"/")
		if !ok {
			return nil, fmt.Errorf("%s: %s lies outside the folder %s", file, entries[i].name, folder)
		}
		entries[i].name = inside
	}
	return entries, nil
}

func readTar(content []byte) ([]entry, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	var entries []entry
	for t := tar.NewReader(unpacked); ; {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(io.LimitReader(t, mostOf))
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{header.Name, header.FileInfo().Mode().Perm(), content})
	}
}

func readZip(content []byte) ([]entry, error) {
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(io.LimitReader(r, mostOf))
		r.Close()
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{f.Name, f.Mode().Perm(), content})
	}
	return entries, nil
}
