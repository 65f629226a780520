throw new RangeError('kit says no');
