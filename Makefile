# Targets for people and for CI. `make` alone lists them.

SHELL = /bin/bash

PREFIX     ?= /usr
SYSCONFDIR ?= /etc
DESTDIR    ?=
SBINDIR     = $(PREFIX)/sbin
BINDIR      = $(PREFIX)/bin
UNITDIR     = $(PREFIX)/lib/systemd/system
# dbus-daemon reads policies below /usr/share and /etc only.
POLICYDIR   = $(if $(filter /usr,$(PREFIX)),$(PREFIX)/share,$(SYSCONFDIR))/dbus-1/system.d

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS    = -s -w -X github.com/stas-go/stas/pkg/version.Version=$(VERSION)
RUN       ?= .
FUZZTIME  ?= 60s
CHECKS    ?= 100000
BENCH     ?= .
LONG      ?=
# KERNEL=6.1 takes Debian 12 instead of 13 for everything that runs in the VM.
KERNEL    ?=
export KERNEL

PROGRAMS   = $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard cmd/*/*.go)))))
DAEMONS    = $(filter stafd stacd,$(PROGRAMS))
TOOLS      = $(filter-out $(DAEMONS),$(PROGRAMS))

# Everything that is installed, as mode:source:destination. What lies in the directories named here is picked up by itself.
FILES = \
  $(foreach f,$(DAEMONS),755:bin/$f:$(SBINDIR)/$f) \
  $(foreach f,$(TOOLS),755:bin/$f:$(BINDIR)/$f) \
  $(foreach f,$(wildcard systemd/*.service systemd/*.target systemd/*.socket),644:$f:$(UNITDIR)/$(notdir $f)) \
  $(foreach f,$(wildcard systemd/*.d/*.conf),$(if $(filter systemd/tmpfiles.d/% systemd/sysusers.d/%,$f),,644:$f:$(UNITDIR)/$(f:systemd/%=%))) \
  $(foreach f,$(wildcard systemd/tmpfiles.d/*.conf),644:$f:$(PREFIX)/lib/tmpfiles.d/$(notdir $f)) \
  $(foreach f,$(wildcard systemd/sysusers.d/*.conf),644:$f:$(PREFIX)/lib/sysusers.d/$(notdir $f)) \
  $(foreach f,$(wildcard systemd/udev/*.rules),644:$f:$(PREFIX)/lib/udev/rules.d/$(notdir $f)) \
  $(foreach f,$(wildcard dbus-interfaces/*.xml),644:$f:$(PREFIX)/share/dbus-1/interfaces/$(notdir $f)) \
  $(foreach f,$(wildcard etc/dbus-1/system.d/*.conf),644:$f:$(POLICYDIR)/$(notdir $f)) \
  $(foreach n,1 5 7 8,$(foreach f,$(wildcard man/*.$n),644:$f:$(PREFIX)/share/man/man$n/$(notdir $f) \
    644:bin/html/$(notdir $f).html:$(PREFIX)/share/doc/stas/html/$(notdir $f).html)) \
  $(foreach f,$(TOOLS), \
    644:bin/completion/$f.bash:$(PREFIX)/share/bash-completion/completions/$f \
    644:bin/completion/$f.zsh:$(PREFIX)/share/zsh/site-functions/_$f \
    644:bin/completion/$f.fish:$(PREFIX)/share/fish/vendor_completions.d/$f.fish)
# Configuration belongs to the administrator: installed where there is none, removed by purge only.
CONFIGURATION = $(wildcard etc/stas/*)

.DEFAULT_GOAL := help
.PHONY: help demo test e2e mutants stalls check build install uninstall purge deb rpm bench torture capture fuzz vm clean tree

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

demo: tree ## show discovery and connection at work on a real kernel, in a VM
	@test/vm/needs build vm
	$(GO) run ./test/vm -tree bin/tree -put test/demo -deadline 10m demo/demo
	@echo "A shell in the same VM, with everything installed: make vm"

test: BUDGET = 5m
test: ## unit and integration with the race detector, then end to end on a real kernel in a VM, for BUDGET
	@test/vm/needs build test vm
	@$(MAKE) --no-print-directory tree bin/vm
	$(GO) run ./test/tally 'STAS_REQUIRE_INTEGRATION=1 CGO_ENABLED=1 $(GO) test -race -json -timeout 10m ./...' '$(in-vm)'

e2e: tree bin/vm ## only the tests in the VM; RUN=PATTERN chooses, as go test -run; LONG=1: also those that take minutes
	@test/vm/needs build vm
	$(GO) run ./test/tally '$(in-vm) -test.run "$(RUN)"'

in-vm = $(GO) run ./test/vm -tree bin/tree -qemu "-acpitable file=bin/vm/nbft" -put bin/vm $(if $(LONG),-env STAS_LONG=1 -deadline 170m,-deadline 68m) \
  $(if $(BUDGET),-env STAS_BUDGET=$(BUDGET)) vm/tests -test.v -test.timeout $(if $(LONG),165m,64m)

# What needs the real kernel: packages with tests that are tagged so, and those whose edges the build machine may lack.
VMTESTS = $(sort $(filter-out test/bench,$(patsubst %/,%,$(dir \
  $(shell grep -rlx '//go:build e2e' --include='*_test.go' test pkg)))) pkg/netif pkg/uevent)

# One directory for each: its test program and what that reads. The go command knows what has to be built again.
.PHONY: bin/vm
bin/vm:
	@rm -rf $@
	@set -e; for package in $(VMTESTS); do name=$${package##*/}; mkdir -p $@/$$name; \
	  CGO_ENABLED=0 $(GO) test -c -tags e2e -o $@/$$name/$$name.test ./$$package; \
	  if [ -d $$package/testdata ]; then cp -r $$package/testdata $@/$$name/; fi; done
	@cp test/vm/tests $@/
	@$(GO) run ./test/nbft/table >$@/nbft # what the guest finds in its firmware

mutants: ## break one rule after the other and show that a test turns red
	@test/vm/needs build
	GO=$(GO) test/mutants/run

stalls: ## the unit tests, while any line of them and of the programs may be held up for a moment; ROUNDS=3
	@test/vm/needs build
	$(GO) run ./test/stalls -rounds $(or $(ROUNDS),3)

check: ## formatting, vet, linters, scripts, man pages, units, generated files, module files
	@test/vm/needs build check
	GO=$(GO) tools/check

build: ## the programs, static, in bin/
	@mkdir -p bin
	$(if $(PROGRAMS),CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(PROGRAMS:%=./cmd/%))
	@mkdir -p bin/completion
	@for tool in $(TOOLS); do for shell in bash zsh fish; do \
	  file=bin/completion/$$tool.$$shell; bin/$$tool completion $$shell >$$file 2>/dev/null || rm -f $$file; done; done
	@mkdir -p bin/html
	@if type -P mandoc >/dev/null; then for page in $(wildcard man/*.[1578]); do \
	  mandoc -T html -O man=%N.%S.html "$$page" >"bin/html/$${page##*/}.html" || exit; done; fi

install: build ## into DESTDIR, below PREFIX and SYSCONFDIR; an existing configuration stays as it is
	@set -e; for entry in $(FILES); do IFS=: read -r mode from to <<<"$$entry"; \
	  [ -e "$$from" ] || continue; install -D -m $$mode "$$from" "$(DESTDIR)$$to"; done
	@set -e; for unit in $(addprefix "$(DESTDIR)$(UNITDIR)"/,$(notdir $(wildcard systemd/*.service))); do \
	  sed -i 's#/usr/sbin/#$(SBINDIR)/#g; s#/usr/bin/sta#$(BINDIR)/sta#g' "$$unit"; done
	@set -e; for file in $(CONFIGURATION); do to="$(DESTDIR)$(SYSCONFDIR)/stas/$${file##*/}"; \
	  [ -e "$$to" ] || install -D -m 644 "$$file" "$$to"; done
	@[ -n "$(DESTDIR)" ] || echo "Now: systemd-tmpfiles --create; systemctl daemon-reload; systemctl reload dbus; udevadm control --reload; systemctl enable --now stafd stacd"

uninstall: ## removes what install put there, except the configuration
	@for entry in $(FILES); do rm -f "$(DESTDIR)$${entry##*:}"; done
	@rmdir --ignore-fail-on-non-empty -p "$(DESTDIR)$(PREFIX)/share/doc/stas/html" 2>/dev/null || true

purge: uninstall ## uninstall, and the configuration and the cached state with it
	@for file in $(CONFIGURATION); do rm -f "$(DESTDIR)$(SYSCONFDIR)/stas/$${file##*/}"; done
	@rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(SYSCONFDIR)/stas" 2>/dev/null || true
	@rm -rf "$(DESTDIR)/run/stafd" "$(DESTDIR)/run/stacd"

tree: ## what install makes, in bin/tree
	@rm -rf bin/tree
	@$(MAKE) --no-print-directory install DESTDIR=bin/tree PREFIX=/usr SYSCONFDIR=/etc

deb: ## a Debian package in dist/
	@test/vm/needs build deb
	@$(MAKE) --no-print-directory tree
	tools/deb/build '$(VERSION)'

rpm: ## an RPM package in dist/
	@test/vm/needs build rpm
	@$(MAKE) --no-print-directory tree
	tools/rpm/build '$(VERSION)'

bench: tree ## benchmarks: packages, then the whole system in the VM
	@test/vm/needs build vm
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./pkg/...
	CGO_ENABLED=0 $(GO) test -c -tags e2e -o bin/bench.test ./test/bench
	$(GO) run ./test/vm -tree bin/tree -put bin/bench.test -out bin/bench -deadline 60m ./bench.test -test.v -test.timeout 58m

torture: ## the property tests at full length (CHECKS=100000), which takes hours
	@for package in schedule connector finder; do \
	  TMPDIR=/dev/shm $(GO) test ./pkg/$$package -run AnySequence -timeout 4h -rapid.checks=$(CHECKS) || exit; done

capture: tree bin/vm ## what Linux and fabricsim say to each other on the wire, dissected by tshark
	@test/vm/needs build vm capture
	$(GO) run ./test/vm -tree bin/tree -put bin/vm -out bin/capture -env STAS_CAPTURE=1 -deadline 10m \
	  vm/e2e/e2e.test -test.v -test.run '^TestSimCapture$$'
	STAS_CAPTURE=$(CURDIR)/bin/capture/kernel.pcap $(GO) test -count=1 -v ./test/capture

fuzz: ## every fuzz target for FUZZTIME
	@set -e; $(GO) list -f '{{.ImportPath}}' ./... | while read -r package; do \
	  $(GO) test -list '^Fuzz' $$package | { grep '^Fuzz' || true; } | while read -r target; do \
	    echo "== $$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; done; done

vm: tree ## a root shell in the VM with everything installed; Ctrl-a x leaves it
	@test/vm/needs build vm
	$(GO) run ./test/vm -tree bin/tree -shell

clean: ## removes what the other targets made in this directory
	rm -rf bin dist


