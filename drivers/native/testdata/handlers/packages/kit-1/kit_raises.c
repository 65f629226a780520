void kit_says_no(void);

__attribute__((constructor)) static void begin(void)
{
    kit_says_no();
}
