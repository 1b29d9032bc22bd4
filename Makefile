# forkbox: `make run` serves on 127.0.0.1:8080, `make test` runs every test. Both install what is
# missing on a fresh Debian 12 (as root) and are quick the second time.
#
#   make run LISTEN=0.0.0.0:9000 DATA_DIR=/srv/forkbox     or FORKBOX_LISTEN, FORKBOX_DATA_DIR
#   make run ARGS="--log-level debug"                      any flag of `forkbox serve`
#   make cluster                                           the same as many processes
#   make vm-image                                          what virtual machines boot

.PHONY: run cluster vm-image test build bench setup format clean

# LISTEN and DATA_DIR are the short forms; everything else of FORKBOX_* passes through as it is.
ifdef LISTEN
export FORKBOX_LISTEN := $(LISTEN)
endif
ifdef DATA_DIR
export FORKBOX_DATA_DIR := $(DATA_DIR)
endif

# Only what serving takes: the tests are three quarters of the build.
run: setup
	@scripts/build.sh build -- forkbox
	@exec build/cli/forkbox serve $(ARGS)

# RabbitMQ, PostgreSQL, two APIs, two runners and a webhook process, all private and on loopback.
cluster:
	@scripts/setup.sh --servers
	@scripts/build.sh build -- forkbox
	@exec scripts/cluster.sh $(ARGS)

# Needs root and a network the first time; .deps/vm-base keeps what comes from Debian.
vm-image:
	@scripts/setup.sh --vm
	@scripts/build.sh build -- forkbox
	@build/cli/forkbox vm build $(ARGS)

build: setup
	@scripts/build.sh build

test: setup
	@scripts/test.sh

bench:
	@scripts/setup.sh --bench --servers --languages --vm
	@scripts/build.sh build -- forkbox_bench forkbox_vm_bench
	@build/cli/forkbox vm build --quiet || echo "no image of virtual machines: their rows are left out"
	@exec bench/run.sh $(ARGS)

setup:
	@scripts/setup.sh

format:
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-asan
