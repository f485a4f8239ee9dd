package main

import "syscall"

// ownGroup puts a process into a group of its own; it dies with us even if we are killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
