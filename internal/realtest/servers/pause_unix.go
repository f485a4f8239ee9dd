//go:build unix

package servers

import "syscall"

// Pause stops the server from running, as a machine that hangs would, until Resume.
func (r *Redis) Pause() error { return r.process.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused server run again.
func (r *Redis) Resume() error { return r.process.cmd.Process.Signal(syscall.SIGCONT) }
