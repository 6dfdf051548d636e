"""The MFCC of the windows of one song, by songbag and by other libraries, on one core."""
