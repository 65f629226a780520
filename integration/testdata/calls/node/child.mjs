process.send('there');
