exit! 3
