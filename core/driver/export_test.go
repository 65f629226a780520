package driver

import "context"

// Life and OpenFleetWith let tests keep a fleet of drivers without processes.
type Life = life

func OpenFleetWith(ctx context.Context, paths []string, options FleetOptions, open func(context.Context, string) (Life, error)) (*Fleet, error) {
	return openFleet(ctx, paths, options, open)
}

// Exit reports how the driver ended, after Done.
func (c *Client) Exit() string { return c.process.exit }

var ParseLine = parseLine
