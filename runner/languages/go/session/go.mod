module forkbox/gosession

go 1.21
