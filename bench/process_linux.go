package main

import "syscall"

// dieWithParent makes a process end with the thread that started it: main keeps that thread.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
