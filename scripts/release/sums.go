package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sumsFile is the list of checksums, as sha256sum -c reads it.
const sumsFile = "SHA256SUMS"

// writeSums lists the checksums of all files in a folder, sorted by name.
func writeSums(dir string) error {
	files, err := filesOf(dir)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	for _, file := range files {
		sum, err := sumOf(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%s  %s\n", sum, file)
	}
	return os.WriteFile(filepath.Join(dir, sumsFile), list.Bytes(), 0o644)
}

// checkSums holds a folder against its list: no file may differ, lack, or be too many.
func checkSums(dir string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if err != nil {
		return nil, err
	}
	var listed []string
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		want, file, ok := strings.Cut(lines.Text(), "  ")
		if !ok || file != filepath.Base(file) {
			return nil, fmt.Errorf("%s: not a line of checksums: %q", sumsFile, lines.Text())
		}
		got, err := sumOf(filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		if got != want {
			return nil, fmt.Errorf("%s has the checksum %s, %s says %s", file, got, sumsFile, want)
		}
		listed = append(listed, file)
	}
	files, err := filesOf(dir)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(files, listed) {
		return nil, fmt.Errorf("%s lists %v, the folder holds %v", sumsFile, listed, files)
	}
	return listed, nil
}

// filesOf are the names of the files in a folder but the list of checksums, sorted.
func filesOf(dir string) ([]string, error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range all {
		if e.Name() != sumsFile {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func sumOf(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}
