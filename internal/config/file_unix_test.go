//go:build unix

package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFilesThatDoNotEndOrBlockAreRefused wherever a file is named.
func TestFilesThatDoNotEndOrBlockAreRefused(t *testing.T) {
	dir := t.TempDir()
	fifo, large, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "large"), filepath.Join(dir, "link")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.WriteFile(large, bytes.Repeat([]byte("x"), maxSecretFile+1), 0o600),
		os.WriteFile(filepath.Join(dir, "..data"), []byte("s3cret\n"), 0o600), os.Symlink("..data", link)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{fifo: "no regular file", "/dev/zero": "no regular file", dir: "is a directory", large: "larger than 64 KiB"} {
		if _, err := readSecret("", name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("a secret in %s: %v, want %q", name, err, want)
		}
		if name == large {
			continue
		}
		if _, err := Load(Sources{File: name}); err == nil || !strings.Contains(err.Error(), name+": cannot be read: it is ") {
			t.Errorf("a configuration in %s: %v", name, err)
		}
		if _, err := Load(Sources{ForRun: true, Set: []string{"kafka.tls.enabled=true", "kafka.tls.ca_file=" + name}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a certificate in %s: %v, want %q", name, err, want)
		}
	}
	if secret, err := readSecret("", link); secret != "s3cret" || err != nil {
		t.Errorf("behind a link, as Kubernetes mounts it: %q, %v", secret, err)
	}
}
