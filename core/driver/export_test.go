package driver

import "context"

// Life and OpenFleetWith let tests keep a fleet of drivers without processes.
type Life = life

func OpenFleetWith(ctx context.Context, paths []string, options FleetOptions, open func(context.Context, string) (Life, error)) (*Fleet, error) {
	return openFleet(ctx, paths, options, open)
}

var ParseLine = parseLine
