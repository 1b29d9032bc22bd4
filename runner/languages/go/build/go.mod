module forkbox/gobuild

go 1.21
