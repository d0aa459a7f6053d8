/* bent_lines: throw out the lines that a cable has chewed.
 *
 * Old ship's instruments talk in lines of text. A dollar in front, a star at
 * the back, and after the star two digits, which are a sum over everything
 * between. If a letter was bent on the way they do not agree. It is forty
 * years old, it fits in three lines, and it was designed by people who had
 * met cables.
 *
 *   bent_lines < /dev/berth > good.txt
 *
 * Good lines go to stdout as they came. Bent ones go to stderr with the
 * reason, so that they can be read aloud. The last line counts both: 212 were
 * bent between one Christmas and February, all from one green plug.
 *
 * gcc -Wall -Wextra -O2 -o bent_lines bent_lines.c
 */
#include <stdio.h>
#include <string.h>

#define LONGEST 82 /* a line may be no longer than this: so it was agreed */

static unsigned sum_of(const char *text, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum ^= (unsigned char)text[i];
    return sum;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1; /* small letters are not in the agreement */
}

/* What is wrong with a line, or NULL if it may be believed. */
static const char *fault(const char *line, size_t n)
{
    const char *star = memchr(line, '*', n);

    if (n > LONGEST)
        return "too long, look for two lines run together";
    if (n == 0 || line[0] != '$')
        return "no dollar in front, the start was lost";
    if (star == NULL || (size_t)(star - line) + 3 != n)
        return "no star and two digits at the end, the tail was lost";

    int high = digit(star[1]), low = digit(star[2]);
    if (high < 0 || low < 0)
        return "the two digits are not digits";
    if ((unsigned)(high * 16 + low) != sum_of(line + 1, (size_t)(star - line) - 1))
        return "the sum does not agree, look at the plug";
    return NULL;
}

int main(void)
{
    char line[512];
    unsigned long good = 0, bent = 0;
    int going_on = 0; /* in the middle of a line that did not fit */

    while (fgets(line, sizeof line, stdin)) {
        size_t n = strcspn(line, "\n");
        int whole = line[n] == '\n' || feof(stdin);

        if (going_on) { /* its head has been counted: let the rest go by */
            going_on = !whole;
            continue;
        }
        going_on = !whole;
        while (n > 0 && line[n - 1] == '\r')
            n--;
        line[n] = '\0';

        const char *why = fault(line, n);
        if (why == NULL) {
            good++;
            puts(line);
        } else {
            bent++;
            fprintf(stderr, "bent: %s: %.60s\n", why, line);
        }
    }
    fprintf(stderr, "%lu good, %lu bent\n", good, bent);
    return bent > 0 && good == 0; /* all bent is a cable and not a bad night */
}
