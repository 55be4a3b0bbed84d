# make run     build, and start the server with the defaults; ARGS="--data /srv/desk" is passed on
# make test    every test
# make soak    tests that take long
# make fuzz    every fuzz target for FUZZ_SECONDS (60) each
#
# Each says what it would install and asks first; YES=1 answers yes. All can be repeated.

.PHONY: run test soak fuzz

run:
	@scripts/run.sh $(ARGS)

test:
	@scripts/test.sh $(ARGS)

soak:
	@scripts/soak.sh $(ARGS)

fuzz:
	@scripts/fuzz.sh $(ARGS)
