throw new Error('kit says no');
