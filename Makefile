SEED     ?= 1
SEEDS    ?= 2
RUNS     ?= 4
FUZZTIME ?= 10s
STORY    ?=
# Without STORY, sim plays region-failover and verify takes every story.
STORIES   = $(or $(STORY),$$(bin/protoplex sim list | cut -d ' ' -f 1))

.DEFAULT_GOAL := help
.PHONY: help build test race sim verify bench bench-live bench-monitor fuzz check planted

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s  %s\n", $$1, $$2 }' Makefile

build: ## build bin/protoplex
	go build -o bin/protoplex ./cmd/protoplex

test: check ## the checks, then every test, all stories among them, and the monitors' benchmarks once
	go test ./...
	go test -run '^$$' -bench 'Vantage|Exchange' -benchtime 1x ./monitor

race: ## the tests below the stories, with the race detector (needs a C compiler)
	go test -race -short ./sim/... ./nodes/... ./monitor/...

sim: build ## play a story: STORY=region-failover SEED=1
	bin/protoplex sim run $(or $(STORY),region-failover) --seed $(SEED)

verify: build ## prove that stories replay exactly: SEEDS=2, RUNS=4 of each, STORY= for all
	@set -e; for story in $(STORIES); do bin/protoplex sim verify $$story --seeds $(SEEDS) --runs $(RUNS); done

bench: ## run the benchmarks
	go test -run '^$$' -bench . ./sim ./nodes/... ./scenarios

bench-live: ## tunnels per GiB and fan-out of Live, beside a minimal WebSocket server
	go test -run '^$$' -bench LiveIdle -benchtime 3x -count 5 ./nodes/live
	go test -run '^$$' -bench LiveFanOut -benchtime 5x -count 3 ./nodes/live

bench-monitor: ## CPU and memory of a vantage that watches 500 targets every 10 s, and of three that tell one another
	go test -run '^$$' -bench 'Vantage|Exchange' -benchtime 20x ./monitor

fuzz: ## fuzz every fuzz test in turn: FUZZTIME=10s for each
	@set -e; grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sort | while IFS=: read -r file name; do go test -run '^$$' -fuzz "^$${name#func }$$" -fuzztime $(FUZZTIME) "$${file%/*}" </dev/null; done

check: ## gofmt, go vet, and the house rules of code and documents
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'd:" $$unformatted; exit 1; }
	go vet ./...
	go test -run 'TestCheck|TestDocs' .

planted: SEEDS = 3
planted: ## plant known bugs one by one and see what catches each: BUG=, for all, SEEDS=3
	PROTOPLEX_PLANTED=1 PROTOPLEX_SEEDS=$(SEEDS) go test -count=1 -timeout 2h ./scenarios -run 'TestPlanted$(BUG:%=/^%$$)' -v
